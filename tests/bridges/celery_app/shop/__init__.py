"""A shop that exports its customers on Celery, as the documentation shows it."""

from pyramid.config import Configurator


class SecurityPolicy:
    """A visitor is who says so: ``REMOTE_USER``."""

    def identity(self, request):
        return request.remote_user

    def authenticated_userid(self, request):
        return request.remote_user


def start_export(request):
    from .tasks import export

    result = export.apply_for(request, [request.POST['gate']], label='Customers', tags=['export'])
    return {'progress_id': result.id}


def main(global_config, **settings):
    """Return the web application."""
    with Configurator(settings=settings) as config:
        config.set_security_policy(SecurityPolicy())
        config.include('pyramid_progress')
        config.add_route('export', '/export')
        config.add_view(start_export, route_name='export', request_method='POST', renderer='json')
        return config.make_wsgi_app()
