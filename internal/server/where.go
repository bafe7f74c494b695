package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func readWhere(cfg Config) (where, error) {
	var w where
	b, err := os.ReadFile(filepath.Join(cfg.DataDir, "server.json"))
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return w, fmt.Errorf("reading server.json: %w", err)
	}
	return w, nil
}
