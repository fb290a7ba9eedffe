"""Makes the pictures of the documentation and of README.md, from the demo: ``make screenshots``.

It starts the demo with data of its own, and drives the system's Chromium.
"""

import io
import re
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
from playwright.sync_api import Locator, Page, sync_playwright
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


def start(page: Page, url: str) -> Locator:
    """Start the job of the demo that takes longest, and return the card with its bar."""
    page.goto(url)
    page.select_option('#package', 'the standard library')
    page.get_by_role('button', name='Count').click()
    page.wait_for_selector('pyramid-progress:defined')
    return page.locator('article.card').first


def animate(page: Page, url: str) -> None:
    """Make the animation: a job from its start to its end."""
    card = start(page, url)
    bar = card.locator('pyramid-progress')
    frames = []
    state = ''
    while state != 'finished':
        begun = time.monotonic()
        frames.append(photo(card))
        time.sleep(max(0.0, FRAME - (time.monotonic() - begun)))
        state = bar.get_attribute('state') or ''
    page.wait_for_timeout(1000)  # the bar moves to its end
    frames.append(photo(card))
    # As high as the card is while the bar shows most. At the end it grows, with the result below the bar.
    height = max(frame.height for frame in frames[:-1])
    frames = [padded(frame, height) for frame in frames]
    # One palette, so that what does not change has the same colour in each frame.
    samples = Image.new('RGB', (frames[0].width, 3 * height))
    for number, frame in enumerate((frames[0], frames[len(frames) // 2], frames[-1])):
        samples.paste(frame, (0, number * height))
    palette = samples.quantize(64)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(FRAME * 1000)] * (len(frames) - 1) + [round(END * 1000)]
    frames[0].save(ANIMATION, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


def photo(card: Locator) -> Image.Image:
    """Return a picture of a card without its border."""
    picture = Image.open(io.BytesIO(card.screenshot())).convert('RGB')
    return picture.crop((4, 4, picture.width - 4, picture.height - 4))


def padded(picture: Image.Image, height: int) -> Image.Image:
    """Return a picture of that height, cut off, or filled with the colour of its corner."""
    result = Image.new('RGB', (picture.width, height), picture.getpixel((0, picture.height - 1)))
    result.paste(picture)
    return result


def photograph(page: Page, url: str, scheme: str) -> None:
    """Make the still pictures in a colour scheme."""

    def save(name: str, **options: Any) -> None:
        picture = Image.open(io.BytesIO(page.screenshot(**options))).convert('RGB')
        picture.quantize(128, dither=Image.Dither.NONE).save(SCREENSHOTS / f'{name}-{scheme}.png', optimize=True)

    page.goto(url)
    page.get_by_role('button', name='Import the sample').click()
    page.get_by_text('Look at the rows').first.wait_for(timeout=60_000)
    # Chameleon compiles the template of this page. In CPython 3.11, that can disturb a census at the same time.
    page.goto(f'{url}/progress_tasks')
    card = start(page, url)
    card.get_by_text(re.compile(r'^[34]\d%$')).wait_for(timeout=120_000)
    save('demo')
    page.goto(f'{url}/progress_tasks')
    page.wait_for_selector('pyramid-progress:defined')
    save('tasks')
    page.get_by_role('button', name='Cancel').first.click()
    page.wait_for_selector('pyramid-progress[state=cancelled]')
    page.goto(f'{url}/states')
    page.wait_for_selector('pyramid-progress[state=unknown]', timeout=60_000)
    page.locator('[progress-id=moving]').get_by_text('left').wait_for(timeout=60_000)
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
