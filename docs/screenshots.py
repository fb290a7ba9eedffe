"""Makes the pictures of the documentation and of README.md, from the demo: ``make screenshots``.

It starts the demo with data of its own, and drives the system's Chromium.
"""

import io
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from waitress.server import create_server

from pyramid_progress.demo import main

STATIC = Path(__file__).parent / '_static'
SCREENSHOTS = STATIC / 'screenshots'
ANIMATION = STATIC / 'demo.gif'

#: Seconds between two frames of the animation.
FRAME = 0.2

#: Seconds that the end is shown.
END = 3.0

#: Chromium does not run as root with its sandbox.
OPTIONS = ['--no-sandbox', '--disable-gpu', '--hide-scrollbars']

SCHEMES = ('light', 'dark')


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the demo in the block, and give its URL."""
    settings = {
        'cache.regions': 'default, persistent',
        'cache.type': 'sqlite',
        'cache.data_dir': str(folder / 'cache'),
        'demo.secret': 'only for pictures',
        'demo.data_dir': str(folder / 'demo'),
        'demo.max_upload': '1000000',
    }
    app = main({'__file__': __file__}, **settings)
    server = create_server(app, host='127.0.0.1', port=0, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    yield f'http://127.0.0.1:{server.effective_port}'
    server.close()


def start_import(page: Page, url: str) -> Any:
    """Start the import of the sample, and return the place of its bar."""
    page.goto(url)
    page.get_by_role('button', name='Import the sample').click()
    page.wait_for_selector('pyramid-progress:defined')
    return page.locator('.card:has(> h3), .card[id^=task-]').first


def animate(page: Page, url: str) -> None:
    """Make the animation: an import from its start to its end."""
    card = start_import(page, url)
    frames = []
    while not card.locator('pyramid-progress[state=finished]').count() and card.locator('pyramid-progress').count():
        begun = time.monotonic()
        frames.append(card.screenshot())
        time.sleep(max(0.0, FRAME - (time.monotonic() - begun)))
    page.wait_for_timeout(1000)  # the bar glides to its end
    frames.append(card.screenshot())
    pictures = [Image.open(io.BytesIO(frame)).convert('RGB') for frame in frames]
    size = pictures[0].size
    # One palette, so that what does not change has the same colour in each frame.
    palette = pictures[len(pictures) // 2].quantize(48)
    indexed = [picture.crop((0, 0, *size)).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [round(FRAME * 1000)] * (len(indexed) - 1) + [round(END * 1000)]
    indexed[0].save(ANIMATION, save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=True)


def photograph(page: Page, url: str, scheme: str) -> None:
    """Make the still pictures in a colour scheme."""

    def save(name: str, **options: Any) -> None:
        page.screenshot(path=SCREENSHOTS / f'{name}-{scheme}.png', **options)

    card = start_import(page, url)
    card.locator('pyramid-progress[state=finished], a:has-text("Look at the rows")').first.wait_for(timeout=120_000)
    card = start_import(page, url)
    page.wait_for_function("() => document.querySelector('pyramid-progress .pp-pace')?.textContent", timeout=60_000)
    save('demo', full_page=True)
    page.goto(f'{url}/progress_tasks')
    page.wait_for_load_state('networkidle')
    save('tasks')
    page.goto(f'{url}/states')
    page.wait_for_function("() => document.querySelector('pyramid-progress[state=unknown]')", timeout=30_000)
    page.wait_for_function(
        "() => document.querySelector('#moving .pp-pace, [progress-id=moving] .pp-pace')?.textContent"
    )
    save('states', full_page=True)


def run() -> None:
    """Make all pictures."""
    executable = shutil.which('chromium-headless-shell') or shutil.which('chromium')
    if executable is None:
        sys.exit('chromium is missing')
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as url,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=OPTIONS) as browser,
    ):
        for scheme in SCHEMES:
            with browser.new_context(viewport={'width': 900, 'height': 700}, color_scheme=scheme) as context:
                photograph(context.new_page(), url, scheme)
        with browser.new_context(viewport={'width': 680, 'height': 900}) as context:
            animate(context.new_page(), url)
    for path in sorted([ANIMATION, *SCREENSHOTS.iterdir()]):
        print(f'{path.relative_to(STATIC.parent.parent)}: {path.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    run()
