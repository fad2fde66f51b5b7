#!/bin/bash
# Makes packages and archives of this commit: dist.sh FOLDER [ARCHITECTURE...]
#
# From the environment, by the Makefile: GO, VERSION, LDFLAGS, and SOURCE_DATE_EPOCH, the time of the
# commit. NFPM: the program that makes packages.
set -euo pipefail
umask 022
# The same bytes again: no setting of whoever builds, no path, nothing that git adds by itself.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GODEBUG=
unset GOOS GOARCH
: "${NFPM:=$GO tool -modfile=internal/dist/nfpm.mod nfpm}"

out=$(realpath -m "$1")
shift
[ $# -gt 0 ] || set -- amd64 arm64
PACKAGE_VERSION=$("$GO" run ./internal/dist version "$VERSION" "$SOURCE_DATE_EPOCH")
export PACKAGE_VERSION
# Not in $out: what is made half is nobody's.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/doc" "$work/out"

build() { # ARCHITECTURE
	[ -d "$work/$1/bin" ] && return
	mkdir -p "$work/$1/bin"
	GOOS=linux GOARCH=$1 "$GO" build -ldflags "$LDFLAGS" -o "$work/$1/bin/" ./cmd/...
}

package() { # CONFIGURATION
	local format
	for format in deb rpm; do
		$NFPM package --config "internal/dist/$1" --packager $format --target "$work/out" >/dev/null
	done
}

here=$("$GO" env GOHOSTARCH)
build "$here"
internal/dist/extras.sh "$work/$here/bin/footbridge" "$work/extras"
"$GO" run ./internal/dist notices ./cmd/... >"$work/doc/THIRD-PARTY"
gzip -9n "$work/doc/THIRD-PARTY"
export EXTRAS=$work/extras DOC=$work/doc

for arch; do
	echo "dist: footbridge $PACKAGE_VERSION for $arch"
	build "$arch"
	export PACKAGE_ARCH=$arch BIN=$work/$arch/bin TREE=$work/$arch/tree
	PREFIX=/usr DESTDIR=$TREE internal/dist/place.sh install
	package nfpm.yaml

	# An archive is a prefix, to be unpacked over ~/.local.
	name=footbridge-$PACKAGE_VERSION-linux-$arch
	PREFIX=/$name DESTDIR=$work/$arch UNITBINDIR=%h/.local/bin internal/dist/place.sh install
	tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$work/$arch" -c "$name" |
		gzip -9n >"$work/out/$name.tar.gz"
done
# A name of another program, for whoever wants that, on any architecture.
package nfpm-slirp4netns.yaml

rm -rf "$out"
mkdir -p "$out"
cp "$work/out"/* "$out"
cd "$out"
sha256sum -- *.deb *.rpm *.tar.gz >SHA256SUMS
ls -l
