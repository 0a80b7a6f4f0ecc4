package handover

import (
	"os"

	"smartvm.dev/go/internal/reaper"
)

// The least and the ordinary of proc(5)'s oom_score_adj.
const (
	neverKilled = "-1000"
	asOthers    = "0"
)

// Shelter keeps this process from being ended where memory is short, as PID 1 is kept. What it starts is as others are.
func Shelter(children *reaper.Reaper) error {
	score, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	children.Around(func() func() {
		// A process has it from the one that starts it, from its first moment.
		score.WriteAt([]byte(asOthers), 0)
		return func() { score.WriteAt([]byte(neverKilled), 0) }
	})
	_, err = score.WriteAt([]byte(neverKilled), 0)
	return err
}
