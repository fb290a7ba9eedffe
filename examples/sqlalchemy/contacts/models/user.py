"""The users of the application."""

import hashlib
import hmac
import secrets

from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base


class User(Base):
    """A user, who signs in with a password, or sends a token with each request of an API client."""

    __tablename__ = 'users'

    name: Mapped[str] = mapped_column(primary_key=True)
    salt: Mapped[bytes]
    password_hash: Mapped[bytes]
    token_hash: Mapped[str | None] = mapped_column(unique=True)

    def set_password(self, password):
        self.salt = secrets.token_bytes(16)
        self.password_hash = _hash_password(password, self.salt)

    def check_password(self, password):
        return hmac.compare_digest(self.password_hash, _hash_password(password, self.salt))

    def set_token(self, token):
        self.token_hash = hash_token(token)


def hash_token(token):
    """Return what the database has of a token. A token is random, so that it needs no salt."""
    return hashlib.sha256(token.encode('utf-8', 'surrogateescape')).hexdigest()


def _hash_password(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
