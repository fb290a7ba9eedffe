"""Contacts, and the files from which they are imported."""

from sqlalchemy.orm import Mapped, mapped_column

from .meta import Base


class Contact(Base):
    """A person or an organisation with an email address."""

    __tablename__ = 'contacts'

    email: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Upload(Base):
    """A CSV file with the columns ``name`` and ``email``, until it is imported."""

    __tablename__ = 'uploads'

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
