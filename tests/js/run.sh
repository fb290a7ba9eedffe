# Run the script's own tests and its type check.

for program in node node_modules/.bin/tsc; do
    if ! command -v $program >/dev/null 2>&1; then
        echo "Skipped the script's tests: $program is missing."
        [ "${CI:-}" != true ]
        exit
    fi
done
set -e
node --test tests/js/*.test.mjs
node_modules/.bin/tsc
