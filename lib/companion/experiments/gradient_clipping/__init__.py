"""What clipping does to Adam's moments, rate and step."""
