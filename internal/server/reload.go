package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weir/internal/platform"
	"weir/internal/runner/local"
)

// Reload is weir reload: it lets the server on cfg.DataDir start its controller
// and its router anew, from the program that is now at its path, and returns
// when both have taken over. No request is dropped.
func Reload(ctx context.Context, cfg Config) error {
	_, err := os.Stat(filepath.Join(cfg.DataDir, "run", "keeper.sock"))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &platform.Error{
			Kind: platform.KindForbidden, Msg: "this server is another user's",
			Hint: "run weir reload as the user that runs weir serve", Err: err,
		}
	case err != nil:
		return &platform.Error{
			Kind: platform.KindNotFound, Msg: fmt.Sprintf("no weir runs on the data directory %s", cfg.DataDir),
			Hint: "name the one it was started with: --data", Err: err,
		}
	}
	return local.New(local.Config{DataDir: cfg.DataDir}).Replace(ctx)
}
