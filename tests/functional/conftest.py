"""Applications under WebTest, set up as a user would."""

import pytest
from pyramid.config import Configurator
from support.shop import EXPLICIT, Shop
from webtest import TestApp

MEMORY = {
    'cache.regions': 'default, persistent',
    'cache.type': 'memory',
}


@pytest.fixture
def make_app():
    """Return a function that makes an application from settings and further configuration."""

    def make(configure=lambda config: None, route_prefix=None, **settings):
        with Configurator(settings=MEMORY | settings) as config:
            config.include('pyramid_progress', route_prefix=route_prefix)
            configure(config)
        return TestApp(config.make_wsgi_app())

    return make


@pytest.fixture(params=[{}, EXPLICIT], ids=['the default manager', 'an explicit manager'])
def make_shop(request, make_app, tmp_path):
    """Return a function that makes a shop with more settings."""
    return lambda **settings: Shop(make_app, tmp_path, request.param | settings)


@pytest.fixture
def shop(make_shop):
    return make_shop()


class HeaderPolicy:
    """A security policy that believes a header: the user's id stands in `X-User`."""

    def identity(self, request):
        return self.authenticated_userid(request)

    def authenticated_userid(self, request):
        return request.headers.get('X-User')

    def permits(self, request, context, permission):
        return request.headers.get('X-Permissions') == permission

    def remember(self, request, userid, **kw):
        return []

    def forget(self, request, **kw):
        return []


@pytest.fixture
def with_policy():
    """Configuration that sets a security policy."""
    return lambda config: config.set_security_policy(HeaderPolicy())
