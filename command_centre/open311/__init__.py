"""Open311 GeoReport v2: requests of other programs in, the public state of them out."""
