// As the test of every day, with as many VMs as a network has to bear.
process.env.SMARTVM_TEST_VMS = '50';
await import('../integration/network-programs.test.js');
