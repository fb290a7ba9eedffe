# Run the tests, the type check and the linter of the script.

for program in node node_modules/.bin/tsc node_modules/.bin/eslint; do
    if ! command -v $program >/dev/null 2>&1; then
        echo "Skipped the script's tests: $program is missing."
        [ "${CI:-}" != true ]
        exit
    fi
done
set -e
npm run --silent lint
npm run --silent types
npm run --silent test
