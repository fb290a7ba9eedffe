"""Packaging of pyramid_progress; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent

# Not imported: the package's dependencies are not installed yet.
version: dict[str, str] = {}
exec(here.joinpath('pyramid_progress', 'version.py').read_text('utf-8'), version)  # noqa: S102

install_requires = [
    'pyramid >= 2.1',
    'beaker >= 1.14',
    'pyramid_beaker >= 0.9',
    'pyramid_chameleon',
    # Pyramid 2.1 and pyramid_chameleon import pkg_resources, which setuptools 82 dropped.
    'setuptools < 82',
    'wcwidth >= 0.3',
]

redis = ['redis >= 5']
# With what its Redis broker needs, as the demo's production.ini.
celery = ['celery[redis] >= 5.3']
# uvicorn uses httptools if it is there: an event takes a fifth less of the processor than with h11.
push = ['httptools >= 0.6', 'starlette >= 0.40', 'uvicorn >= 0.30']
tqdm = ['tqdm >= 4.66']
terminal = ['rich >= 13']
toolbar = ['pyramid_debugtoolbar >= 4.10']
demo = [*toolbar, 'waitress']
# The modules that the reference describes import the packages that they integrate.
docs = [*celery, *push, *tqdm, *toolbar, 'furo', 'myst-parser', 'sphinx']
test = [
    *redis,
    *celery,
    *push,
    *tqdm,
    *terminal,
    *demo,
    'Babel',
    'axe-playwright-python',
    'build',
    'gevent',
    'gunicorn',
    'hypothesis',
    'jsonschema',
    'lingua',
    'numpy',
    'pip >= 22.3',  # its option --python
    'prometheus-client',
    'playwright < 1.65',  # later ones do not drive the Firefox of Debian
    'pyramid_jinja2',
    'pyramid_mako',
    'pyramid_retry',
    'pyramid_tm',
    'pytest',
    'pytest-rerunfailures',
    'pytest-timeout',
    'pytest-xdist',
    'python-memcached',
    'pyuwsgi; sys_platform == "linux"',
    'selenium',
    'SQLAlchemy >= 2',
    'WebTest',
    'zope.sqlalchemy',
]
dev = [*test, *docs, 'check-manifest', 'coverage >= 7.10', 'mypy', 'nox', 'pillow', 'ruff']
# The packages that `make bench` compares with, in the versions of the published figures.
bench = [*test, 'celery-progress == 0.5', 'pyams_utils == 2.10.0']

setup(
    name='pyramid_progress',
    version=version['__version__'],
    description='Progress bars for long-running tasks in Pyramid applications',
    long_description=here.joinpath('README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    license_files=['LICENSE'],
    keywords='pyramid progress progressbar task beaker chameleon',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Web Environment',
        'Framework :: Pyramid',
        'Intended Audience :: Developers',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: JavaScript',
        'Topic :: Internet :: WWW/HTTP',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=[*find_packages(include=['pyramid_progress', 'pyramid_progress.*']), 'pyramid_progress.static'],
    # In a checkout, pyramid_progress/static is a symbolic link, which not every platform has.
    package_dir={'pyramid_progress.static': 'static'},
    package_data={
        'pyramid_progress': ['py.typed', 'locale/*.pot', 'locale/*/LC_MESSAGES/*', 'web/templates/*'],
        'pyramid_progress.static': ['*'],
        'pyramid_progress.storage.redis': ['*.lua'],
        'pyramid_progress.demo': ['static/*', 'templates/*.pt'],
    },
    zip_safe=False,
    install_requires=install_requires,
    extras_require={
        'bench': bench,
        'celery': celery,
        'demo': demo,
        'dev': dev,
        'docs': docs,
        'push': push,
        'redis': redis,
        'terminal': terminal,
        'test': test,
        'toolbar': toolbar,
        'tqdm': tqdm,
    },
    entry_points={
        'beaker.backends': ['sqlite = pyramid_progress.beaker_sqlite:SqliteNamespaceManager'],
        'console_scripts': [
            'pprogress = pyramid_progress.scripts.pprogress:main',
            'pprogress-events = pyramid_progress.scripts.pprogress_events:main',
        ],
    },
)
