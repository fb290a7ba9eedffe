"""The same page in three template languages."""


def includeme(config):
    # From here, for pyramid_jinja2 looks for templates in the package that includes it.
    for package in ('pyramid_chameleon', 'pyramid_jinja2', 'pyramid_mako'):
        config.include(package)
