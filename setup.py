"""Packaging of pyramid_progress; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent

install_requires = [
    'pyramid >= 2.1',
    'beaker >= 1.14',
    'pyramid_beaker >= 0.9',
    'pyramid_chameleon',
    # Pyramid 2.1 and pyramid_chameleon import pkg_resources, which setuptools 82 dropped.
    'setuptools < 82',
]

redis = ['redis >= 5']
celery = ['celery >= 5.3']
tqdm = ['tqdm >= 4.66']
terminal = ['rich >= 13']
toolbar = ['pyramid_debugtoolbar >= 4.10']
demo = [*toolbar, 'waitress']
test = [
    *redis,
    *celery,
    *tqdm,
    *terminal,
    *demo,
    'Babel',
    'axe-playwright-python',
    'build',
    'hypothesis',
    'lingua',
    'playwright',
    'pyramid_jinja2',
    'pyramid_mako',
    'pytest',
    'python-memcached',
    'SQLAlchemy >= 2',
    'WebTest',
]
dev = [*test, 'mypy', 'ruff']
# The peers that `make bench` measures against, in the versions whose figures are told.
bench = [*test, 'celery-progress == 0.5', 'pyams_utils == 2.10.0']

setup(
    name='pyramid_progress',
    version='0.1.dev0',
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
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: JavaScript',
        'Topic :: Internet :: WWW/HTTP',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['pyramid_progress', 'pyramid_progress.*']),
    package_data={
        'pyramid_progress': ['py.typed', 'locale/*.pot', 'locale/*/LC_MESSAGES/*', 'static/*', 'templates/*'],
        'pyramid_progress.storage': ['*.lua'],
        'pyramid_progress.demo': ['static/*', 'templates/*.pt'],
    },
    zip_safe=False,
    install_requires=install_requires,
    extras_require={
        'bench': bench,
        'celery': celery,
        'demo': demo,
        'dev': dev,
        'redis': redis,
        'terminal': terminal,
        'test': test,
        'toolbar': toolbar,
        'tqdm': tqdm,
    },
    entry_points={
        'beaker.backends': ['sqlite = pyramid_progress.storage.sqlite_namespace:SqliteNamespaceManager'],
        'console_scripts': ['pprogress = pyramid_progress.scripts.pprogress:main'],
    },
)
