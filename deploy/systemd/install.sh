#!/bin/sh
# Install Breakwater as a service from this checkout, which has to lie in /opt/breakwater. Run it as root; run it
# again after `git pull` to bring everything up to date. Nothing is started, and no configuration is touched.
#
#   DESTDIR     where the files go instead of /, to try it or to make a package; then no user is made
#   SKIP_SETUP  if set, the virtual environment is taken as it is
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
place=${DESTDIR:-}

fail() { printf '%s\n' "$*" >&2; exit 1; }

if [ -z "$place" ]; then
    [ "$(id -u)" -eq 0 ] || fail "Run this as root: the service gets a user of its own."
    [ "$root" = /opt/breakwater ] ||
        fail "This checkout lies in $root. The service looks for it in /opt/breakwater: move it there."
fi

if [ -z "${SKIP_SETUP:-}" ]; then
    make --no-print-directory -C "$root" setup TORCH_INDEX="${TORCH_INDEX-https://download.pytorch.org/whl/cpu}"
    # The service may not write here, so that what Python compiles is compiled now.
    "$root/.venv/bin/python" -m compileall -q "$root/signatures" "$root/db" "$root/scanner" "$root/relay"
fi

install -D -m 0644 "$root/deploy/systemd/sysusers.conf" "$place/usr/lib/sysusers.d/breakwater.conf"
install -D -m 0644 "$root/deploy/systemd/breakwater.service" "$place/etc/systemd/system/breakwater.service"
install -D -m 0755 "$root/deploy/systemd/breakwater" "$place/usr/local/bin/breakwater"

if [ -z "$place" ]; then
    systemd-sysusers
    install -d -o breakwater -g breakwater -m 0700 /var/lib/breakwater
    # For the authorities that your server has to trust; nothing in it is secret.
    install -d -o breakwater -g breakwater -m 0755 /var/lib/breakwater-trust
    systemctl daemon-reload
fi

printf '%s\n' \
    "Breakwater is installed. Next:" \
    "  breakwater init                            writes /var/lib/breakwater/breakwater.toml" \
    "  systemctl enable --now breakwater          starts it, now and at every boot" \
    "  breakwater selftest                        sends test pictures through it"
