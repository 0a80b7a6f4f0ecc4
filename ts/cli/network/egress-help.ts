/** Of the option in every command that has it. */
export const EGRESS_HELP =
  "where to the guest may connect: 'none', 'internet', or rules such as allow=10.0.0.0/8,tcp,443 and deny=any; can be given several times, and the first rule that matches decides";
