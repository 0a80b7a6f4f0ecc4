package handover

import (
	"os"
	"strings"
	"time"
)

// An init that tells nothing of itself is taken to be up once it has slept for so long, by so many looks, or has lived for so long in spite
// of all that it does.
const (
	lookInterval = 100 * time.Millisecond
	quietLooks   = 10
	settleTime   = 10 * time.Second
)

// awaitQuiet waits until a process sleeps and does nothing. How long it takes to get so far, and whether it dies on the way, the machine's
// load must not decide.
func awaitQuiet(stat string) {
	looks := time.NewTicker(lookInterval)
	defer looks.Stop()
	began, last := time.Now(), ""
	for quiet := 0; quiet < quietLooks && time.Since(began) < settleTime; {
		<-looks.C
		now, asleep := activity(stat)
		if asleep && now == last {
			quiet++
		} else {
			quiet = 0
		}
		last = now
	}
}

// activity is a process's CPU time so far, and whether it sleeps; see proc_pid_stat(5).
func activity(stat string) (times string, asleep bool) {
	data, _ := os.ReadFile(stat)
	// The name may have spaces and parentheses: the last one ends it.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return "", false
	}
	return strings.Join(fields[11:13], " "), fields[0] == "S"
}
