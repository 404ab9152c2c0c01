"""One pure file for each sender: bytes to what the sender said; no client, no clock, no register."""
