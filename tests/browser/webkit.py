"""WebKit: the system's MiniBrowser, driven by Selenium, with the part of Playwright's interface that the tests use.

The servers of the tests add the scripts that run first, because the driver cannot.
"""

import json
import os
import time
import warnings
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, WebDriverException
from selenium.webdriver.common.keys import Keys
from support.waiting import wait_until

from . import init_scripts

DRIVER = Path(__file__).with_suffix('.js').read_text()

#: Promises are for those who need them: one of a page that is just replaced is never settled.
CALL = """const args = arguments;
    const pack = (value) => JSON.stringify([value ?? null, driver.errors.splice(0)]);
    const value = %s;
    return value instanceof Promise ? value.then(pack) : pack(value);"""

#: In seconds.
TIMEOUT = 30

#: The media of a browser with plain options, by Playwright's names.
PLAIN = {'color_scheme': 'light', 'forced_colors': 'none', 'reduced_motion': 'no-preference', 'media': 'screen'}


@contextmanager
def launching(service_program, display, *arguments, **environment):
    """Run a browser for the length of a ``with`` block; gives Selenium's driver.

    :param service_program: the path of WebKitWebDriver
    :param display: the X display, as in ``:1``
    :param arguments: more arguments of MiniBrowser
    :param environment: more variables of its environment
    """
    program = next(Path('/usr/lib').glob('*/webkit2gtk-4.1/MiniBrowser'), None)
    assert program, 'the package libwebkit2gtk-4.1-0 has no MiniBrowser'
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(program)
    for argument in ('--automation', *arguments):
        options.add_argument(argument)
    options.page_load_strategy = 'none'  # otherwise scripts wait for a navigation that is pending
    service = webdriver.WebKitGTKService(service_program, env=os.environ | {'DISPLAY': display} | environment)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # Selenium's own call
        driver = webdriver.WebKitGTK(options=options, service=service)
    try:
        yield driver
    finally:
        with suppress(WebDriverException):  # a test may have ended the session
            driver.quit()


class Browser:
    """Contexts with plain options share one browser, because a start takes most of a second."""

    def __init__(self, launch):
        self._launch = launch
        self._stack = ExitStack()
        self._driver = self._stack.enter_context(launch())

    def new_context(
        self,
        *,
        viewport=None,
        reduced_motion=None,
        timezone_id=None,
        proxy=None,
        color_scheme='light',
    ):
        """Return a context. The first two options have no effect, and each of the others starts a browser."""
        arguments = [f'--time-zone={timezone_id}'] if timezone_id else []
        arguments += [f'--proxy={proxy["server"]}'] if proxy else []
        environment = {'GTK_THEME': 'Adwaita:dark'} if color_scheme == 'dark' else {}
        own = self._launch(*arguments, **environment) if arguments or environment else None
        try:
            self._driver.current_window_handle  # noqa: B018
        except WebDriverException:
            self._driver = self._stack.enter_context(self._launch())
        return Context(self._driver, own, color_scheme)

    def close(self):
        self._stack.close()


class Context:
    """The pages of a visitor. The cookies of the last page go when it is closed."""

    def __init__(self, shared, own, color_scheme):
        self.media = PLAIN | {'color_scheme': color_scheme}
        self._stack = ExitStack()
        self._driver = self._stack.enter_context(own) if own else shared
        self.pages = []
        self.current = None
        init_scripts.scripts[:] = [DRIVER]

    def new_page(self, kind='window'):
        """Open a page, in a window that is visible, or in a `tab` in the background."""
        if self.pages:
            self._driver.switch_to.new_window(kind)
        self.current = Page(self, self._driver)
        self.pages.append(self.current)
        return self.current

    def close(self):
        init_scripts.scripts.clear()
        with self._stack:
            for page in self.pages[1:]:
                page.close()
            for page in self.pages:
                page.leave()


class Scope:
    """What has elements: a page, or what a locator finds."""

    def __init__(self, page, *steps):
        self._page = page
        self._steps = steps

    def _with(self, *steps):
        return Locator(self._page, *self._steps, *steps)

    def locator(self, selector, has_text=None):
        return self._with(('css', selector), *([('hasText', has_text)] if has_text else []))

    def get_by_role(self, role, name=None, exact=False):
        return self._with(('role', role, name, exact))

    def get_by_text(self, text, exact=False):
        return self._with(('text', text, exact))

    def get_by_label(self, text):
        return self._with(('label', text))


class Locator(Scope):
    """Some elements, which are searched anew at each use."""

    @property
    def page(self):
        return self._page

    @property
    def first(self):
        return self.nth(0)

    @property
    def last(self):
        return self.nth(-1)

    def nth(self, index):
        return self._with(('nth', index))

    def count(self):
        return self.evaluate_all('(nodes) => nodes.length')

    def all(self):
        return [self.nth(index) for index in range(self.count())]

    def evaluate_all(self, expression, arg=None):
        return self._page.call(f'({expression})(driver.find(args[0]), args[1])', self._steps, arg)

    def evaluate(self, expression, arg=None):
        self.wait_for(state='attached')
        return self._page.call(f'({expression})(driver.find(args[0])[0], args[1])', self._steps, arg)

    def wait_for(self, state='visible', timeout=TIMEOUT * 1000):
        conditions = {
            'visible': '(nodes) => nodes.some(driver.isVisible)',
            'attached': '(nodes) => nodes.length > 0',
            'detached': '(nodes) => nodes.length === 0',
        }
        wait_until(lambda: self.evaluate_all(conditions[state]), timeout / 1000, f'not {state}: {self._steps}')

    def is_visible(self):
        return self.evaluate_all('(nodes) => nodes.some(driver.isVisible)')

    def get_attribute(self, name):
        return self.evaluate('(node, name) => node.getAttribute(name)', name)

    def text_content(self):
        return self.evaluate('(node) => node.textContent')

    def inner_text(self):
        return self.evaluate('(node) => node.innerText')

    def all_inner_texts(self):
        return self.evaluate_all('(nodes) => nodes.map((node) => node.innerText)')

    def input_value(self):
        return self.evaluate('(node) => node.value')

    def bounding_box(self):
        return self.evaluate('(node) => node.getBoundingClientRect().toJSON()')

    def focus(self):
        self.evaluate('(node) => node.focus()')

    def click(self):
        self.wait_for()
        self._page.element(self._steps).click()

    def fill(self, text):
        self.wait_for()
        self._page.element(self._steps).clear()
        self._page.element(self._steps).send_keys(text)

    def press(self, key):
        self.focus()
        self._page.keyboard.press(key)


class Page(Scope):
    """A page in a window of its own. Its clock does not stand still, but its timers can be advanced."""

    def __init__(self, context, driver):
        super().__init__(self)
        self.context = context
        self.keyboard = SimpleNamespace(
            press=lambda key: self.driver.switch_to.active_element.send_keys(getattr(Keys, key.upper()))
        )
        self.clock = SimpleNamespace(
            install=lambda: None, fast_forward=lambda time: self.call('driver.advance(args[0])', time)
        )
        self._driver = driver
        self._window = driver.current_window_handle
        self._listeners = []

    @property
    def driver(self):
        """The driver, in the window of this page."""
        if self.context.current is not self:
            self._driver.switch_to.window(self._window)
            self.context.current = self
        return self._driver

    @property
    def url(self):
        return self.driver.current_url

    def call(self, expression, *args):
        """Return the value of an expression, in which ``args`` are these arguments; listeners get the page's errors."""
        value, errors = json.loads(self._ask(CALL % expression.strip().rstrip(';'), *args))
        for error in errors:
            for listener in self._listeners:
                listener(error)
        return value

    def _ask(self, script, *args):
        try:
            return self.driver.execute_script(script, *args)
        except JavascriptException as error:
            if 'variable: driver' not in str(error):
                raise
            self.driver.execute_script(DRIVER)  # an empty page, or one that is about to load its own
            return self.driver.execute_script(script, *args)

    def element(self, steps):
        """Return Selenium's element for the only one that a locator finds."""
        (element,) = self._ask('return driver.find(arguments[0])', steps)
        return element

    def evaluate(self, expression, arg=None, *, is_condition=False):
        """Return what an expression or a function gives; of a condition whether it is true."""
        expression = expression.strip().rstrip(';')
        try:
            return self.call(f'driver.evaluate(({expression}), args[0], {json.dumps(is_condition)})', arg)
        except JavascriptException as error:
            if 'SyntaxError' not in str(error):
                raise
            return self.driver.execute_script(expression)

    def on(self, event, listener):
        """Add a listener of `pageerror` or `console`: they get the same errors, as texts."""
        if event == 'pageerror':
            self._listeners.append(listener)

    def add_init_script(self, script):
        init_scripts.scripts.append(script)

    def set_default_timeout(self, timeout):
        """Do nothing: there is one for all."""

    def _load(self, start, wait_until_state):
        self.call('window.isLeft = true')
        start()
        self.wait_for_function('!window.isLeft && document.readyState === "complete"')
        before, count = -1, 0
        while wait_until_state == 'networkidle' and before < count:
            self.wait_for_timeout(300)
            before, count = count, self.call("performance.getEntriesByType('resource').length")

    def goto(self, url, wait_until='load'):
        self._load(lambda: self.driver.get(url), wait_until)

    def go_back(self, wait_until='load'):
        self._load(lambda: self.driver.back(), wait_until)

    def leave(self):
        """Show an empty page, without the cookies of this one."""
        self.driver.delete_all_cookies()
        self.driver.get('about:blank')

    def close(self):
        self.driver.close()
        self.context.pages.remove(self)
        self.context.current = None
        self._driver.switch_to.window(self._driver.window_handles[0])

    def content(self):
        return '<!DOCTYPE html>' + self.call('document.documentElement.outerHTML')

    def wait_for_function(self, expression, arg=None):
        error = None

        def is_true():
            nonlocal error
            try:
                return self.evaluate(expression, arg, is_condition=True)
            except WebDriverException as raised:  # also if the page is replaced at this moment
                error = raised

        wait_until(is_true, TIMEOUT, f'not true: {expression}, {arg}; {error}')

    def wait_for_selector(self, selector):
        self.locator(selector).wait_for()

    def wait_for_url(self, url):
        wait_until(lambda: self.url == url, TIMEOUT, f'not at {url}')

    def wait_for_timeout(self, milliseconds):
        time.sleep(milliseconds / 1000)

    def set_viewport_size(self, size):
        """Change the size of the window so that the page has this one."""
        width, height = self.call('[outerWidth - innerWidth, outerHeight - innerHeight]')
        self.driver.set_window_size(size['width'] + width, size['height'] + height)
        self.wait_for_timeout(100)
        if self.call('innerWidth') > size['width']:
            pytest.skip('the narrowest window has 447 pixels')

    def emulate_media(self, **media):
        """Skip the test if it needs other media than a plain browser has."""
        for name, value in media.items():
            if self.context.media[name] != value and name != 'reduced_motion':
                pytest.skip(f'the driver does not emulate {name}')
