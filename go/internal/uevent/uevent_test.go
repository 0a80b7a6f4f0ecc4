package uevent

import "testing"

func TestParse(t *testing.T) {
	event := parse("change@/devices/virtio0/virtio-ports/vport0p1\x00ACTION=change\x00SUBSYSTEM=virtio-ports\x00X=a=b\x00")
	if len(event) != 3 || event["ACTION"] != "change" || event["SUBSYSTEM"] != "virtio-ports" || event["X"] != "a=b" {
		t.Fatalf("%v", event)
	}
}
