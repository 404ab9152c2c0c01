"""OGC SensorThings API 1.1, part 1 (18-088): its nouns over our register, and what a request asks of them; pure."""
