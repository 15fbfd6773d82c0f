"""From a folder of pictures to a network that ships: recipes, data, degradation, losses, the loop, its checkpoints."""
