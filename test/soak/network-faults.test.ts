// As the tests of every day, with a program killed before each of its changes.
process.env.SMARTVM_TEST_CHANGES_APART = '1';
await import('../integration/network-faults.test.js');
