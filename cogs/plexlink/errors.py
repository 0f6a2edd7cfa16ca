"""Everything that PlexLink raises on purpose.

::

    PlexLinkError
    ├── SettingError             a setting is missing or malformed; the text names it, never its value
    ├── PlexError                a call to plex.tv brought nothing
    │   ├── PlexUnavailableError    no usable answer: ask again later
    │   │   └── PlexSilentError        none at all in the time that a call has
    │   ├── PlexSlowDownError       too many requests: ask again later, and less often
    │   ├── PlexRefusedError        plex.tv says no: it is meant, if it goes on saying so
    │   └── TokenRejectedError      plex.tv does not know this token
    ├── VaultError               a secret cannot be read
    │   ├── WrongKeysError          the keys are not those that the data was written with
    │   ├── UnknownKeyError         the envelope names a key that is not in the ring
    │   └── BrokenEnvelopeError     the envelope was damaged, or belongs to another row
    ├── StoreError               the database cannot be used
    │   ├── DatabaseInUseError      another bot runs on it, or another program keeps us out: try again later
    │   ├── StoreUnavailableError   full, locked, read-only, gone: it works again once that is mended
    │   ├── ConflictError           another one was quicker: look again
    │   ├── FencedError             another process has begun to work: this one's work is over
    │   └── NewerRowError           a newer release wrote this row; the others can be read
    ├── NotifyError              Discord did not take a card: try again
    │   └── DiscordRefusedError     it says no, which may be about this card alone
    ├── IllegalTransitionError   the attempt cannot do this from its state
    └── StaleAttemptError        the attempt moved on while we were working on it

A leaf is a decision that a caller can take. Foreign errors are translated where their library is used.
"""


class PlexLinkError(Exception):
    """The root of the family."""


class SettingError(PlexLinkError):
    """A setting is missing or malformed."""


class PlexError(PlexLinkError):
    """A call to plex.tv brought nothing."""


class PlexUnavailableError(PlexError):
    """plex.tv gave no usable answer; the question is still open."""


class PlexSilentError(PlexUnavailableError):
    """plex.tv let a call hang until its time was over."""


class PlexSlowDownError(PlexError):
    """plex.tv wants fewer requests."""

    def __init__(self, retry_after_seconds: float | None = None) -> None:
        super().__init__("plex.tv asks for fewer requests")
        self.retry_after_seconds = retry_after_seconds


class PlexRefusedError(PlexError):
    """plex.tv refused the call."""


class TokenRejectedError(PlexError):
    """plex.tv does not accept this token."""


class VaultError(PlexLinkError):
    """A secret cannot be read."""


class WrongKeysError(VaultError):
    """The key ring does not fit the database."""


class UnknownKeyError(VaultError):
    """The envelope names a key that is not in the ring."""


class BrokenEnvelopeError(VaultError):
    """The envelope does not open with its key in this place."""


class StoreError(PlexLinkError):
    """The database cannot be used."""


class DatabaseInUseError(StoreError):
    """Another bot runs on this database, or another program holds its lock."""


class StoreUnavailableError(StoreError):
    """The machine does not let the database be used at present; the text says what mends it."""


class ConflictError(StoreError):
    """There may be only one of these, and there is one already; nothing was kept."""


class FencedError(StoreError):
    """Another process has begun to work; nothing was kept."""


class NewerRowError(StoreError):
    """A row holds a word that this release does not know."""


class NotifyError(PlexLinkError):
    """Discord did not take a card."""


class DiscordRefusedError(NotifyError):
    """Discord answered, and does not want to do what it was asked."""


class IllegalTransitionError(PlexLinkError):
    """The event does not fit the attempt's state."""


class StaleAttemptError(PlexLinkError):
    """The attempt is no longer in the state that the caller knew."""
