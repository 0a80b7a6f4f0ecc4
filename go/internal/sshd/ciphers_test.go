package sshd

import (
	"crypto/aes"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestACipherThatIsSlowHereIsNotOffered(t *testing.T) {
	native, emulated := ciphersBy(1, 10), ciphersBy(5, 1)
	if native[0] != ssh.CipherAES128GCM || !slices.Contains(native, ssh.CipherChaCha20Poly1305) {
		t.Error("where AES-GCM is quick:", native)
	}
	if emulated[0] != ssh.CipherChaCha20Poly1305 || slices.Contains(emulated, ssh.CipherAES128GCM) {
		t.Error("where ChaCha20 is quick:", emulated)
	}
}

func TestBothCiphersAreMeasured(t *testing.T) {
	for name, encrypt := range map[string]func([]byte){"AES-GCM": gcm(), "ChaCha20": chacha()} {
		sample := make([]byte, cipherSample, cipherSample+aes.BlockSize)
		if encrypt(sample); !slices.ContainsFunc(sample, func(b byte) bool { return b != 0 }) {
			t.Error(name, "encrypted nothing")
		}
	}
}

func TestARoundThatIsHeldUpDoesNotCount(t *testing.T) {
	took := []time.Duration{50, 20, 3, 40, 30}
	if len(took) != cipherRounds {
		t.Fatal(cipherRounds)
	}
	var clock time.Time
	least := timeOf(func([]byte) {
		clock, took = clock.Add(took[0]), took[1:]
	}, func() time.Time { return clock })
	if least != 3 || len(took) != 0 {
		t.Error(least, took)
	}
}
