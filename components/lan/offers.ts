/** What to do about others that offer addresses on the LAN (offers.sh), a sentence each. */
export function warnOfOffers(facts: Map<string, string[]>): string[] {
  return (facts.get("offers") ?? []).map(
    (server) =>
      `${server} hands out addresses on the LAN too, and itself as their gateway: switch its DHCP server off`,
  );
}
