"""Video files to frames and back, with everything that only passes by: av and numpy, never torch."""
