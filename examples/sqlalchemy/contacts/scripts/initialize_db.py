"""Makes the database, with a user: ``contacts_initialize_db development.ini``."""

import argparse
import secrets

from pyramid.paster import bootstrap, setup_logging

from contacts import models


def main():
    """Make the tables and the user ``mary``, if there are none, and print a password and a token of that user."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config_uri', help='the ini file')
    config_uri = parser.parse_args().config_uri
    setup_logging(config_uri)
    with bootstrap(config_uri) as env:
        models.Base.metadata.create_all(env['registry']['dbsession_factory'].kw['bind'])
        with env['request'].tm:
            dbsession = env['request'].dbsession
            password, token = secrets.token_urlsafe(9), secrets.token_urlsafe(24)
            user = dbsession.get(models.User, 'mary') or models.User(name='mary')
            user.set_password(password)
            user.set_token(token)
            dbsession.add(user)
    print(f'name:     mary\npassword: {password}\ntoken:    {token}')
