"""The store: tables, repositories and migrations."""

from .cells import Sealer
from .database import Database
from .store import Store, Transaction

__all__ = ["Database", "Sealer", "Store", "Transaction"]
