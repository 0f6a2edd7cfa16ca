"""The store: tables, repositories and migrations."""

from .database import Database
from .store import Store, Transaction

__all__ = ["Database", "Store", "Transaction"]
