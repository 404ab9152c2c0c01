"""Where bytes come from: a broker now; field protocols over TCP and a partitioned log stand beside it later."""
