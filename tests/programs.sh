# Install the system's programs that tests drive, where they are missing and this user may; with the argument `engines`,
# also the browsers that only `make check` drives.
# What cannot be had is skipped by the tests that need it; with CI=true they fail.

missing=''
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need chromium chromium
need node nodejs
need npm npm
need redis-server redis-server
need memcached memcached
need nginx nginx-light

# Packages that not every system has.
optional=''
want() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || optional="$optional $2"
}
# Used instead of chromium, because it starts faster.
want chromium-headless-shell chromium-headless-shell
if [ "${1:-}" = engines ]; then
    want firefox-esr firefox-esr
    want WebKitWebDriver webkit2gtk-driver
    want Xvfb xvfb
fi

[ -n "$missing$optional" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    [ -z "$missing" ] || echo "Missing:$missing. Install these with your system's package manager to run the tests that need them."
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    sudo=''
elif sudo -n true 2>/dev/null; then
    sudo='sudo'
else
    [ -z "$missing" ] || echo "Missing:$missing. To run the tests that need them: sudo apt-get install$missing"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
for package in $optional; do
    apt-cache show "$package" >/dev/null 2>&1 && missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "Installing$missing"
# shellcheck disable=SC2086  # a list of words
$sudo apt-get install -qq -y --no-install-recommends $missing >/dev/null
