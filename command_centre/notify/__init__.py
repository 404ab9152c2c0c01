"""How people outside this room are told: what an order says, and the channels it goes through."""
