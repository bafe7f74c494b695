package archive

import (
	"testing"

	"go.uber.org/goleak"
)

var formats = []Format{Zip, Tar, TarGz, TarZst}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
