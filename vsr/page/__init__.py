"""The page of the watch daemon: what it does, shown in a browser and steered from there."""
