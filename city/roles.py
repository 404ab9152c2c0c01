"""Who people are, as far as more than one room asks: which roles sit in the centre. Pure.

The roles themselves are ``command_centre.accounts.Role``, what each may call is ``command_centre.api.access``.
"""

# 三防值班: a flood-duty officer dispatches too, and in a small district is the dispatcher.
CENTRE = ("dispatcher", "flood_officer", "supervisor", "administrator")
APPROVERS = ("supervisor", "administrator")
# Look and do nothing: another system's account is no pair of hands.
ONLY_LOOK = ("viewer", "integrator")
