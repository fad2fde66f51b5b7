package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/footbridge-net/footbridge/tests/busybox"
)

// imageName is what programs call the image after they have loaded the archive of image.
const imageName = "localhost/busybox:latest"

// pictures makes the root file system and the image of a stage once each.
type pictures struct{ archive sync.Once }

// rootfs unpacks busybox into a new folder of the user's, as the root of a container: bundle/rootfs of a runtime.
func (s *stage) rootfs(name string) string {
	tree, err := busybox.Tree()
	if err != nil {
		s.fail("making a root file system: %w", err)
	}
	dir := s.folder(name)
	s.user.reading(string(tree)).run("tar", "-C", dir, "-xf", "-")
	return dir
}

// image returns the path of an archive with one image, as docker save writes it: podman load -i, docker load -i,
// buildah pull docker-archive:PATH.
func (s *stage) image() string {
	path := filepath.Join(s.dir, "busybox.tar")
	s.pictures.archive.Do(func() {
		archive, err := imageArchive()
		if err == nil {
			err = os.WriteFile(path, archive, 0o644)
		}
		if err != nil {
			s.fail("making an image: %w", err)
		}
	})
	return path
}

// imageArchive is docker-archive's layout: one layer, its configuration, and a manifest that names both.
func imageArchive() ([]byte, error) {
	layer, err := busybox.Tree()
	if err != nil {
		return nil, err
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(layer))
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/bin"}, "Cmd": []string{"sh"}, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
	})
	if err != nil {
		return nil, err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{imageName}, "Layers": []string{digest + "/layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	var problems []error
	for _, f := range []struct {
		name string
		text []byte
	}{{digest + "/layer.tar", layer}, {configName, config}, {"manifest.json", manifest}} {
		problems = append(problems, t.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.text))}))
		_, err := t.Write(f.text)
		problems = append(problems, err)
	}
	problems = append(problems, t.Close())
	return out.Bytes(), errors.Join(problems...)
}
