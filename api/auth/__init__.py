"""Who asks, what their token allows, and how much they may ask at once."""
