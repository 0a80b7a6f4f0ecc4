package sshd

import (
	"crypto/aes"
	"crypto/cipher"
	"time"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/ssh"
)

const (
	cipherSample = 4 << 10
	cipherRounds = 5
)

// quickCiphers are the ciphers to offer on this CPU. The client has the choice, and clients prefer what is quick where they run: one that is
// slow here is not offered. A CPU with instructions for AES does AES-GCM at ten times the speed of ChaCha20; one that is emulated has these
// instructions too, and takes five times as long.
func quickCiphers() []string {
	return ciphersBy(timeOf(gcm(), time.Now), timeOf(chacha(), time.Now))
}

func ciphersBy(gcm, chacha time.Duration) []string {
	if chacha < gcm {
		// The last is for clients that have no other.
		return []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES256GCM}
	}
	return []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305}
}

// timeOf is the least of some rounds: others may hold up the CPU meanwhile.
func timeOf(encrypt func([]byte), now func() time.Time) time.Duration {
	sample := make([]byte, cipherSample, cipherSample+aes.BlockSize)
	least := time.Duration(1<<63 - 1)
	for range cipherRounds {
		start := now()
		encrypt(sample)
		least = min(least, now().Sub(start))
	}
	return least
}

func gcm() func([]byte) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err) // the length of the key is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := make([]byte, aead.NonceSize())
	return func(data []byte) { aead.Seal(data[:0], nonce, data, nil) }
}

// chacha leaves out Poly1305, which takes a tenth of it.
func chacha() func([]byte) {
	key, nonce := make([]byte, chacha20.KeySize), make([]byte, chacha20.NonceSize)
	return func(data []byte) {
		stream, err := chacha20.NewUnauthenticatedCipher(key, nonce)
		if err != nil {
			panic(err) // the lengths of key and nonce are right
		}
		stream.XORKeyStream(data, data)
	}
}
