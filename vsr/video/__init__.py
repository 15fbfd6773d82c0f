"""FFmpeg's world: containers, packets, frames. No torch here."""
