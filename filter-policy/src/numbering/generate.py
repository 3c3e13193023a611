#!/usr/bin/env python3
"""Regenerates countries.tsv and nanp.tsv, beside this file, and the engine's trunk_zero.rs from libphonenumber's metadata.

    cargo xtask numbering

The PyPI package `phonenumbers` carries that metadata (Apache-2.0); the command installs the version that it pins and runs
this file. Which numbers of a shared calling code belong to which country is found by asking the library about random numbers
with every prefix. The seed is fixed, so two runs give the same result.
"""

import datetime
import random
import re
from collections import Counter
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberType
from phonenumbers.data import _COUNTRY_CODE_TO_REGION_CODE as REGIONS_OF_CODE
from phonenumbers.geodata import GEOCODE_DATA

HERE = Path(__file__).parent
ENGINE = HERE.parents[2] / "filter-core" / "src"
MAX_DIGITS = 15  # E.164
NANP = 1

# Names in the geocoding data -> ISO 3166-2.
REGIONS = {
    "Alabama": "US-AL", "Alaska": "US-AK", "Arizona": "US-AZ", "Arkansas": "US-AR", "California": "US-CA",
    "Colorado": "US-CO", "Connecticut": "US-CT", "Delaware": "US-DE", "Florida": "US-FL", "Georgia": "US-GA",
    "Hawaii": "US-HI", "Idaho": "US-ID", "Illinois": "US-IL", "Indiana": "US-IN", "Iowa": "US-IA", "Kansas": "US-KS",
    "Kentucky": "US-KY", "Louisiana": "US-LA", "Maine": "US-ME", "Maryland": "US-MD", "Massachusetts": "US-MA",
    "Michigan": "US-MI", "Minnesota": "US-MN", "Mississippi": "US-MS", "Missouri": "US-MO", "Montana": "US-MT",
    "Nebraska": "US-NE", "Nevada": "US-NV", "New Hampshire": "US-NH", "New Jersey": "US-NJ", "New Mexico": "US-NM",
    "New York": "US-NY", "North Carolina": "US-NC", "North Dakota": "US-ND", "Ohio": "US-OH", "Oklahoma": "US-OK",
    "Oregon": "US-OR", "Pennsylvania": "US-PA", "Rhode Island": "US-RI", "South Carolina": "US-SC",
    "South Dakota": "US-SD", "Tennessee": "US-TN", "Texas": "US-TX", "Utah": "US-UT", "Vermont": "US-VT",
    "Virginia": "US-VA", "Washington State": "US-WA", "Washington D.C.": "US-DC", "West Virginia": "US-WV",
    "Wisconsin": "US-WI", "Wyoming": "US-WY",
    "Alberta": "CA-AB", "British Columbia": "CA-BC", "British Colombia": "CA-BC", "Manitoba": "CA-MB",
    "New Brunswick": "CA-NB", "Newfoundland and Labrador": "CA-NL", "Ontario": "CA-ON", "Quebec": "CA-QC",
    "Saskatchewan": "CA-SK",
    # Area codes of several provinces have no region of their own.
    "Northwest Territories/Nunavut/Yukon": "", "Nova Scotia/Prince Edward Island": "",
}
# Area codes that the geocoding data splits into exchanges, so the code itself has no name there.
SPLIT = {203: "US-CT", 310: "US-CA", 713: "US-TX", 718: "US-NY", 905: "CA-ON"}
TERRITORIES = {"AS", "GU", "MP", "PR", "VI"}
KINDS = {
    PhoneNumberType.TOLL_FREE: "toll-free",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.VOIP: "non-geographic",
}


def metadata(code, region):
    if region == "001":
        return PhoneMetadata.metadata_for_nongeo_region(code)
    return PhoneMetadata.metadata_for_region(region)


def lengths(code, region):
    """Fewest and most digits, calling code included."""
    possible = metadata(code, region).general_desc.possible_length
    digits = len(str(code))
    return digits + min(possible), min(MAX_DIGITS, digits + max(possible))


def regions_seen(code, prefix, possible, samples):
    """The regions of random numbers that begin with the national digits `prefix`."""
    seen = set()
    for length in possible:
        if length < len(prefix):
            continue
        rest = length - len(prefix)
        for _ in range(min(samples, 10**rest)):
            national = prefix + "".join(random.choices("0123456789", k=rest))
            number = PhoneNumber(country_code=code, national_number=int(national or "0"))
            if national.startswith("00"):
                continue  # no country writes two
            if national.startswith("0"):
                number.italian_leading_zero = True
            region = phonenumbers.region_code_for_number(number)
            if region:
                seen.add(region)
    return seen


def shared(code, regions):
    """(national prefix, region) where a prefix belongs to another country than the code's main one."""
    possible = sorted({length for region in regions for length in metadata(code, region).general_desc.possible_length})

    def walk(prefix):
        """The region of all numbers with this prefix, or a list of those that differ; None if there are none."""
        if len(prefix) >= 3:
            seen = regions_seen(code, prefix, possible, 60)
            if len(seen) <= 1 and len(prefix) >= 4:
                return seen.pop() if seen else None
            if len(prefix) >= 6:
                return min(seen) if seen else None
        children = {prefix + digit: walk(prefix + digit) for digit in "0123456789"}
        known = {child for child in children.values() if isinstance(child, str)}
        mixed = any(isinstance(child, dict) for child in children.values())
        if not mixed and len(known) <= 1:
            return known.pop() if known else None
        return children

    found = []

    def collect(node, inherited):
        for prefix, child in node.items():
            if isinstance(child, dict):
                counts = Counter(value for value in child.values() if isinstance(value, str))
                region = counts.most_common(1)[0][0] if counts else inherited
                if region != inherited and len(counts) == 1:
                    found.append((prefix, region))
                    collect(child, region)
                else:
                    collect(child, inherited)
            elif child is not None and child != inherited:
                found.append((prefix, child))

    tree = walk("")
    if isinstance(tree, dict):
        collect(tree, regions[0])
    return found


def countries():
    rows = []
    for code, regions in sorted(REGIONS_OF_CODE.items(), key=lambda item: str(item[0])):
        if code == NANP:
            continue
        main = regions[0]
        rows.append((str(code), "" if main == "001" else main, *lengths(code, main)))
        if len(regions) > 1:
            for prefix, region in sorted(shared(code, regions)):
                rows.append((f"{code}{prefix}", region, *lengths(code, region)))
    return rows


def area_codes():
    rows = []
    for area_code in range(200, 1000):
        regions, kinds = Counter(), Counter()
        for _ in range(60):
            subscriber = random.randint(200, 999) * 10_000 + random.randint(0, 9_999)
            number = PhoneNumber(country_code=NANP, national_number=area_code * 10_000_000 + subscriber)
            region = phonenumbers.region_code_for_number(number)
            if region:
                regions[region] += 1
                kinds[phonenumbers.number_type(number)] += 1
        if not regions:
            continue
        country = regions.most_common(1)[0][0]
        kind = KINDS.get(kinds.most_common(1)[0][0], "geographic")
        name = GEOCODE_DATA.get(f"{NANP}{area_code}", {}).get("en", "")
        region = ""
        if country in TERRITORIES:
            region = f"US-{country}"
        elif kind == "geographic" and country in ("US", "CA"):
            if area_code in SPLIT:
                region = SPLIT[area_code]
            elif ", " in name:  # "Chicago, IL"
                region = f"{country}-{name.rsplit(', ', 1)[1]}"
            else:
                region = REGIONS[name]
        rows.append((area_code, country, region, kind))
    return rows


def descriptions(region):
    """What the metadata says about each type of a region's numbers."""
    of = PhoneMetadata.metadata_for_region(region)
    types = [of.general_desc, of.fixed_line, of.mobile, of.toll_free, of.premium_rate, of.shared_cost, of.voip, of.pager,
             of.uan, of.personal_number, of.voicemail]
    return [kind for kind in types if kind and kind.national_number_pattern and kind.possible_length]


def begins_with_zero(region, chance):
    """True if a national number of the region may begin with one 0. (Some countries have service numbers that begin with two.)"""
    for kind in descriptions(region):
        pattern = re.compile(kind.national_number_pattern)
        for length in kind.possible_length:
            for start in range(100, 1000):
                start = f"0{start}"[:length]
                for _ in range(20):
                    rest = "".join(chance.choices("0123456789", k=length - len(start)))
                    if pattern.fullmatch(start + rest):
                        return True
    return False


def trunk_zero():
    """Country codes whose national prefix is 0, and whose national numbers do not begin with it."""
    chance = random.Random(1)
    codes = []
    for code, regions in sorted(REGIONS_OF_CODE.items()):
        if regions == ("001",):
            continue
        prefixes = {PhoneMetadata.metadata_for_region(region).national_prefix for region in regions}
        if "0" in prefixes and not any(begins_with_zero(region, chance) for region in regions):
            codes.append(code)
    return codes


def write_trunk_zero(source, codes):
    lines = ["//! Countries whose national prefix is 0, which no national number there begins with.", "//!"]
    lines += [f"//! {line.replace('beside this file', 'in `filter-policy`')}" for line in source]
    lines += ["", "/// Their country codes.", f"pub const TRUNK_ZERO: [u16; {len(codes)}] = ["]
    row = "   "
    for code in codes:
        if len(row) + len(f" {code},") > 120:
            lines.append(row)
            row = "   "
        row += f" {code},"
    lines += [row, "];"]
    (ENGINE / "trunk_zero.rs").write_text("\n".join(lines) + "\n")
    print(f"trunk_zero.rs: {len(codes)} country codes")


def write(name, about, columns, rows):
    lines = [f"# {line}" for line in about]
    lines.append("# " + "\t".join(columns))
    lines += ["\t".join(str(value) for value in row) for row in rows]
    (HERE / name).write_text("\n".join(lines) + "\n")
    print(f"{name}: {len(rows)} rows")


def main():
    random.seed(1)
    source = [
        f"From libphonenumber's metadata, PyPI phonenumbers {phonenumbers.__version__} (Apache-2.0), "
        f"{datetime.date.today()}.",
        "Written by generate.py beside this file: do not edit.",
    ]
    write(
        "countries.tsv",
        ["Country calling codes but +1, and the prefixes of those that several countries share.", *source,
         "The country is empty for codes of no country; the digits count the calling code."],
        ["prefix", "country", "fewest digits", "most digits"],
        countries(),
    )
    write(
        "nanp.tsv",
        ["Area codes in use in the North American Numbering Plan.", *source,
         "The region is empty where an area code has none, or several."],
        ["area code", "country", "region", "kind"],
        area_codes(),
    )
    write_trunk_zero(source, trunk_zero())


if __name__ == "__main__":
    main()
