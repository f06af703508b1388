"""What all errors have in common that a user is to read."""

from __future__ import annotations


class UserError(Exception):
    """What cannot be done, and why: a message that is all that its user needs."""
