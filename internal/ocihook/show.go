package ocihook

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// ErrNoPlace: the container's root folder has no place for a file, and none can be made there.
var ErrNoPlace = errors.New("the container's root folder has no place for it")

// maxTries is how often a path is tried of which the kernel cannot say whether its ".." leave
// the root, because something is renamed or mounted on the machine at the same time (openat2(2)).
const maxTries = 1000

// MakePlace makes an empty file at name, such as "etc/hosts", in the folder root if nothing is
// there: some runtimes make the root read-only before ShowFile's turn comes. Links on the way
// lead nowhere but into root, and nothing is made in what is mounted there.
func MakePlace(root, name string) error {
	place, err := openBelow(root, name)
	if err != nil {
		return err
	}
	return unix.Close(place)
}

// ShowFile mounts file over name in the folder root, whose place is MakePlace's, with
// CAP_SYS_ADMIN in the caller's mount namespace.
//
// Errors: ErrNoPlace.
func ShowFile(file, root, name string) error {
	place, err := openBelow(root, name)
	if err != nil {
		return err
	}
	defer unix.Close(place)
	mount, err := unix.OpenTree(unix.AT_FDCWD, file, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("show %s as /%s: %w", file, name, err)
	}
	defer unix.Close(mount)
	if err := unix.MoveMount(mount, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("show %s as /%s: %w", file, name, err)
	}
	return nil
}

// openBelow opens the place of name in the folder root.
func openBelow(root, name string) (int, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("the container's root folder %s: %w", root, err)
	}
	defer unix.Close(dir)
	place, err := openPlace(dir, name)
	if err != nil {
		return -1, fmt.Errorf("%w: %s in %s: %w", ErrNoPlace, name, root, err)
	}
	return place, nil
}

// openPlace opens the file to be mounted over, which may be made for that.
func openPlace(root int, name string) (int, error) {
	place, err := openIn(root, name, &unix.OpenHow{Flags: unix.O_PATH})
	if !errors.Is(err, unix.ENOENT) {
		return place, err
	}
	// Not in what the bundle has mounted there: that is not the container's alone.
	file := unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY, Mode: 0o644, Resolve: unix.RESOLVE_NO_XDEV}
	made, err := openIn(root, name, &file)
	if errors.Is(err, unix.ENOENT) {
		// It is there if a link in it leads nowhere.
		if err := unix.Mkdirat(root, path.Dir(name), 0o755); err != nil {
			return -1, err
		}
		made, err = openIn(root, name, &file)
	}
	if err != nil {
		return -1, err
	}
	unix.Close(made)
	return openIn(root, name, &unix.OpenHow{Flags: unix.O_PATH})
}

// openIn opens a path that leads nowhere but into root.
func openIn(root int, name string, how *unix.OpenHow) (int, error) {
	h := *how
	h.Flags |= unix.O_CLOEXEC
	h.Resolve |= unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	for range maxTries - 1 {
		if fd, err := unix.Openat2(root, name, &h); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return unix.Openat2(root, name, &h)
}
