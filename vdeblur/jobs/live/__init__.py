"""Live pictures: the newest frame of a camera or stream, sharpened, shown, recorded, served on."""
