"""Rising water: stations, forecast, response level, warnings, evacuation, and the duty log of a flood."""
