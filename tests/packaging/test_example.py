"""The example as its README says, in an environment of its own: its commands, its client, its tests."""

import re
import shutil

import pytest
from support.environments import ROOT, Environment
from support.servers import Server, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_commands_of_the_readme(distributions, tmp_path):
    folder = tmp_path / 'example'
    shutil.copytree(
        ROOT / 'examples' / 'sqlalchemy', folder, ignore=shutil.ignore_patterns('*.egg-info', '__pycache__')
    )
    (block,) = re.findall(r'(?m)^    pip install .*\n(?:    .+\n)+', (folder / 'README.md').read_text())
    install, initialize_db, pserve, client, pytest_ = [line.partition('#')[0].split() for line in block.splitlines()]
    assert install == ['pip', 'install', '-e', '../..', '-e', "'.[testing]'"]
    environment = Environment(tmp_path / 'environment', distributions[1], '-e', f'{folder}[testing]')

    def start(command, **options):
        return environment.run(environment.bin / command[0], *command[1:], cwd=folder, **options)

    port = free_port()
    ini = folder / 'development.ini'
    ini.write_text(ini.read_text().replace('localhost:6543', f'127.0.0.1:{port}'))
    user = dict(re.findall(r'(\w+): +(\S+)', start(initialize_db)))
    server = Server([str(environment.bin / pserve[0]), *pserve[1:]], port, tmp_path / 'log', cwd=folder)
    try:
        (folder / 'contacts.csv').write_text('name,email\nAda,ada@example.com\n')
        words = {'http://localhost:6543': f'http://127.0.0.1:{port}', 'TOKEN': user['token']}
        assert start([words.get(word, word) for word in client]).splitlines()[-1].startswith('finished')
    finally:
        server.stop()
    assert ' passed' in start([*pytest_, '-q', '-p', 'no:cacheprovider'])
