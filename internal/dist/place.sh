#!/bin/sh
# Puts what was built where it is to be, or takes it away: place.sh install|uninstall
#
# From the environment: PREFIX and DESTDIR as usual; BIN and EXTRAS, where the programs and what
# extras.sh made are; DOC, if set, another folder of documents beside ours; SLIRP4NETNS=1 gives
# footbridge the name of slirp4netns, too. Runs in the source's top folder. Both verbs go through
# one list, so that nothing installed is forgotten.
set -eu
umask 022
verb=$1
: "${PREFIX:=/usr/local}" "${DESTDIR:=}" "${BIN:=bin}" "${EXTRAS:=bin/extras}" "${SLIRP4NETNS:=}" "${DOC:=}"
BINDIR=${BINDIR:-$PREFIX/bin}
# Where the units say that the program is.
UNITBINDIR=${UNITBINDIR:-$BINDIR}
DATADIR=$PREFIX/share
# systemd looks below lib for the whole machine; in a home folder it looks below share alone.
if [ -z "${UNITDIR:-}" ]; then
	case $PREFIX in /usr | /usr/local) UNITDIR=$PREFIX/lib/systemd/user ;; *) UNITDIR=$DATADIR/systemd/user ;; esac
fi
DOCDIR=$DATADIR/doc/footbridge

case $PREFIX in
/*) ;;
*) echo "PREFIX=$PREFIX: it must be an absolute path" >&2; exit 2 ;;
esac

# put MODE FOLDER NAME FILE: FILE becomes FOLDER/NAME.
put() {
	case $verb in
	install)
		mkdir -p "$DESTDIR$2"
		# A program that runs keeps its file: the new one takes its name.
		cp "$4" "$DESTDIR$2/.$3.new"
		chmod "$1" "$DESTDIR$2/.$3.new"
		mv -f "$DESTDIR$2/.$3.new" "$DESTDIR$2/$3"
		;;
	uninstall)
		rm -f "$DESTDIR$2/$3"
		tidy "$2"
		;;
	esac
}

# tidy FOLDER: it goes when it is empty, and so do those above that are not there for everybody.
tidy() {
	level=$1
	while :; do
		case $level in
		"$BINDIR" | "$PREFIX/lib" | "$DATADIR" | "$DATADIR/doc" | "$DATADIR/man" | "$DATADIR/man/"*) return 0 ;;
		"$PREFIX/"*) rmdir "$DESTDIR$level" 2>/dev/null || return 0 ;;
		*) return 0 ;;
		esac
		level=${level%/*}
	done
}

# forget FOLDER PATTERN...: what put has put there under names that are known by pattern only.
forget() {
	folder=$1
	shift
	[ "$verb" = uninstall ] || return 0
	for pattern; do rm -f "$DESTDIR$folder"/$pattern; done
}

case $verb in
install)
	for f in "$BIN/footbridge" "$EXTRAS/footbridge.bash"; do
		[ -e "$f" ] || { echo "$f is missing: run make extras first" >&2; exit 1; }
	done
	;;
uninstall) ;;
*) echo "usage: place.sh install|uninstall" >&2; exit 2 ;;
esac

put 755 "$BINDIR" footbridge "$BIN/footbridge"
# Programs that runtimes look for in folders of their own, under names of their choice.
if [ "$verb" = uninstall ] || [ -e "$BIN/footbridge-netavark" ]; then put 755 "$PREFIX/lib/netavark" footbridge "$BIN/footbridge-netavark"; fi
if [ "$verb" = uninstall ] || [ -e "$BIN/footbridge-cni" ]; then put 755 "$PREFIX/lib/cni" footbridge-cni "$BIN/footbridge-cni"; fi
# podman's port forwarder is the plugin under another name.
forwarder=$PREFIX/lib/footbridge/podman
if [ "$verb" = uninstall ]; then
	rm -f "$DESTDIR$forwarder/rootlessport"
	tidy "$forwarder"
elif [ -e "$BIN/footbridge-netavark" ]; then
	mkdir -p "$DESTDIR$forwarder"
	ln -sf ../../netavark/footbridge "$DESTDIR$forwarder/rootlessport"
fi

if [ "$verb" = install ] && [ "$SLIRP4NETNS" = 1 ]; then
	at=$DESTDIR$BINDIR/slirp4netns
	if [ -e "$at" ] && [ "$(readlink "$at")" != footbridge ]; then
		echo "$at is another program: remove it, or install without SLIRP4NETNS=1" >&2
		exit 1
	fi
	ln -sf footbridge "$at"
elif [ "$verb" = uninstall ] && [ "$(readlink "$DESTDIR$BINDIR/slirp4netns" || true)" = footbridge ]; then
	rm -f "$DESTDIR$BINDIR/slirp4netns"
fi

if [ "$verb" = install ]; then
	for page in "$EXTRAS"/man/*; do put 644 "$DATADIR/man/man1" "${page##*/}" "$page"; done
	units=$(mktemp -d)
	trap 'rm -rf "$units"' EXIT
	for unit in footbridge footbridge-libnetwork; do
		sed "s,@BINDIR@,$UNITBINDIR," "internal/dist/$unit.service.in" >"$units/$unit.service"
	done
	for page in docs/*.md docs/*.svg; do put 644 "$DOCDIR/docs" "${page##*/}" "$page"; done
	for page in docs/adr/*.md; do put 644 "$DOCDIR/docs/adr" "${page##*/}" "$page"; done
	if [ -n "$DOC" ]; then for page in "$DOC"/*; do put 644 "$DOCDIR" "${page##*/}" "$page"; done; fi
fi
forget "$DATADIR/man/man1" 'footbridge.1.gz' 'footbridge-*.1.gz'
[ "$verb" = install ] || rm -rf "$DESTDIR$DOCDIR"

put 644 "$DATADIR/bash-completion/completions" footbridge "$EXTRAS/footbridge.bash"
put 644 "$DATADIR/zsh/site-functions" _footbridge "$EXTRAS/_footbridge"
put 644 "$DATADIR/fish/vendor_completions.d" footbridge.fish "$EXTRAS/footbridge.fish"
for unit in footbridge footbridge-libnetwork; do put 644 "$UNITDIR" "$unit.service" "${units:-}/$unit.service"; done
put 644 "$UNITDIR" footbridge.socket internal/dist/footbridge.socket
if [ "$verb" = install ]; then
	for page in README.md CHANGELOG.md SECURITY.md LICENSE; do put 644 "$DOCDIR" "$page" "$page"; done
fi
