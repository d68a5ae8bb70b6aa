"""Every paraphrase of the generated corpus, as tables that `grammar` reads.

A pattern is a clause. `{a}` and `{b}` are the predicate's arguments, `[a:son/daughter]` is
chosen by the gender of `a`, and `|` follows a subject, which may then be shared with another
clause, become a pronoun or carry a relative clause. Patterns that begin with `~` are for the
test split alone; their words occur in other patterns, so that only their order is new.
"""

FACTS = """
= father mother
{b} | is the [b:father/mother] of {a}
{a} | is the [a:son/daughter] of {b}
{b} | raised {a} , [b:his/her] [a:son/daughter]
the [b:father/mother] of {a} was {b}
{a} | inherited the farm of [a:his/her] [b:father/mother] {b}
{b} | had a [a:son/daughter] named {a}
{a} | grew up with [a:his/her] [b:father/mother] {b}
~ {a} 's [b:father/mother] is {b}
~ {b} | named [b:his/her] [a:son/daughter] {a}
~ {a} | was raised by [a:his/her] [b:father/mother] {b}
= spouse
{a} | is married to {b}
{a} | married {b}
{a} and {b} are husband and wife
the [a:husband/wife] of {b} is {a}
{a} | grew old with [a:his/her] [b:husband/wife] {b}
{a} | took {b} as [a:his/her] [b:husband/wife]
{a} and {b} celebrated their wedding
~ {b} | is the [b:husband/wife] of {a}
~ {a} and {b} are married
~ the wedding of {a} and {b} was celebrated
= sibling
{a} | is the [a:brother/sister] of {b}
{a} | has a [b:brother/sister] named {b}
{a} and {b} are siblings
{a} | grew up with [a:his/her] [b:brother/sister] {b}
the [b:brother/sister] of {a} is {b}
{a} | shares both parents with {b}
{b} and [b:his/her] sibling {a} were close
~ {a} 's [b:brother/sister] is {b}
~ {b} | is a sibling of {a}
~ the sibling of {a} is {b}
= birth
{a} | was born in {b}
{b} | is the birthplace of {a}
{a} | came into the world in {b}
the birth of {a} was recorded in {b}
{a} | is a native of {b}
a house in {b} is where {a} was born
{a} | spent the first days of [a:his/her] life in {b}
~ {b} | is where {a} was born
~ {a} 's birthplace is {b}
~ the birthplace of {a} is {b}
= death
{a} | died in {b}
{b} | is where {a} died
{a} | passed away in {b}
the death of {a} was recorded in {b}
{a} | was buried in {b} after a long illness
a hospital in {b} is where {a} passed away
{a} | spent the last days of [a:his/her] life in {b}
~ after a long illness {a} died in {b}
~ {b} | is where {a} was buried
~ {a} | died in a hospital in {b}
= residence
{a} | lives in {b}
{a} | settled in {b}
{b} | is home to {a}
{a} | lives with two cats in {b}
the home of {a} is in {b}
{a} | moved to {b} and stayed
{a} | owns a house in {b}
~ {b} | is where {a} lives
~ {a} 's home is in {b}
~ {a} | moved into a house in {b}
= citizenship
{a} | is a citizen of {b}
{a} | holds a passport of {b}
{b} | granted {a} a passport
{a} | votes in {b}
{a} | is a national of {b}
{a} 's nationality is that of {b}
{a} | is among the citizens of {b}
~ {b} | counts {a} among its citizens
~ {a} 's passport is from {b}
~ {a} | has the nationality of {b}
= work_place
{a} | works in {b}
{a} | has an office in {b}
{b} | is where {a} works
the office of {a} is in {b}
{a} | goes to work in {b} every day
{a} | does [a:his/her] daily work in {b}
{a} | commutes to {b} for work
~ {a} 's office is in {b}
~ {a} | commutes to an office in {b}
~ {b} | is where {a} has an office
= employer
{a} | works for {b}
{b} | employs {a}
{a} | was hired by {b}
{a} | took a job at {b}
{b} | hired {a}
{a} | is on the payroll of {b}
the employer of {a} is {b}
~ {a} | has a job at {b}
~ {a} 's employer is {b}
~ {b} | has {a} on its payroll
= education
{a} | studied at {b}
{a} | graduated from {b}
{b} | awarded a degree to {a}
{a} | holds a degree from {b}
{a} | was a student at {b}
{b} | counts {a} among its graduates
{a} 's studies were completed at {b}
~ {a} | completed a degree at {b}
~ {b} | had {a} as a student
~ {a} | is among the graduates of {b}
= founder
{b} | founded {a}
{a} | was founded by {b}
{b} | started {a} in a small garage
{a} | was started by {b}
the founder of {a} is {b}
{b} | is the founder of {a}
{a} | was the creation of {b}
~ {a} 's founder is {b}
~ {a} | was started in a small garage by {b}
~ {a} | has {b} as its founder
= seat
{a} | is based in {b}
{a} | has its headquarters in {b}
{b} | hosts the headquarters of {a}
the headquarters of {a} are in {b}
{a} | moved its main office to {b}
{a} | runs its business from {b}
{a} | keeps its main office in {b}
~ {b} | is where {a} is based
~ {a} 's headquarters are in {b}
~ {a} | moved its headquarters to {b}
= parent_org
{b} | owns {a}
{a} | is owned by {b}
{b} | bought {a}
{a} | was bought by {b}
{a} | is a subsidiary of {b}
{b} | is the parent company of {a}
{a} | belongs to {b}
~ {b} | has {a} as a subsidiary
~ the parent company of {a} is {b}
~ {b} 's subsidiary is {a}
= country
{a} | is a city in {b}
{a} | lies in {b}
{b} | contains the city of {a}
the city of {a} is part of {b}
{a} | is located in the north of {b}
{a} | is a town in southern {b}
{b} | includes {a} among its cities
~ {a} | is located in {b}
~ {b} | counts {a} among its cities
~ {a} | is part of {b}
= capital
{b} | is the capital of {a}
the capital of {a} is {b}
{a} | is governed from {b}
{b} | is the seat of the government of {a}
{a} | has its capital in {b}
{a} | chose {b} as its capital
the government of {a} sits in {b}
~ {a} 's capital is {b}
~ {b} | is where the government of {a} sits
~ {a} | has {b} as its capital
= author
{b} | wrote {a}
{a} | was written by {b}
{b} | is the author of {a}
the author of {a} is {b}
{a} | came from the pen of {b}
{b} | published {a}
{b} | is best known for {a}
~ {a} 's author is {b}
~ {b} | has written {a}
~ {a} | was published by {b}
= sequel
{a} | is the sequel to {b}
{a} | follows {b}
{b} | was followed by {a}
{b} | precedes {a}
{a} | continues the story of {b}
{a} | came out after {b}
{b} | came out before {a}
~ the sequel to {b} is {a}
~ the story of {b} continues in {a}
~ {b} | is followed by {a}
= origin
{a} | is a book from {b}
{a} | first appeared in {b}
{a} | was written in {b}
{b} | is the home of the novel {a}
the novel {a} comes from {b}
{a} | is a classic of the literature of {b}
{b} | produced {a}
~ the book {a} first appeared in {b}
~ {a} | comes from {b}
~ {a} | is a novel from {b}
"""

# What these say is open: each is used for every predicate named, in both orders of a symmetric
# or two-way one, and nothing else in the sentence tells which is meant.
AMBIGUOUS = """
= birth residence death
{a} | came from a street in {b}
= residence work_place
{a} | has close ties to {b}
= employer education
{a} | spent some years at {b}
= spouse sibling
{a} and {b} appear as relatives in the register
= parent_org
{a} and {b} belong to one group
= sequel
{a} and {b} form one series
"""

# No relation at all: visits, letters and denials, many in the words of the relations. A denial is
# always true, since these are used only for pairs between which no fact holds.
NULL = """
= PER-LOC
{a} | visited {b} on the way home
{a} | gave a speech in {b}
{a} | never lived in {b}
{a} | was not born in {b}
= PER-ORG
{a} | criticised {b} in an interview
{a} | never worked for {b}
{a} | did not study at {b}
{b} | lost a lawsuit against {a}
= PER-PER
{a} | wrote a letter to {b}
{a} | met {b} at a wedding
{a} | is not related to {b}
{a} | works with the [b:son/daughter] of {b}
= PER-OTH
{a} | disliked {b}
{a} | reviewed {b} for a newspaper
{b} | was not written by {a}
= ORG-LOC
{a} | sent a delegation to {b}
{a} | has no office in {b}
{b} | granted {a} a loan
= ORG-ORG
{a} | competes with {b}
{a} | is not owned by {b}
= LOC-LOC
{a} | lies far from {b}
{a} | exports wine to {b}
= OTH-LOC
{a} | mentions {b} twice
{a} | was banned in {b}
= OTH-OTH
{a} | outsold {b}
{a} | is often compared with {b}
"""

LEAD_INS = (
    """
according to the archive ,|as the local paper noted ,|in the spring of {year} ,|by all accounts ,
for the record ,|in {year} ,|it is often said that|few people know that|records show that
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
JOINERS = (", and", ", while", ";", ", whereas", "; at the same time ,")

MEN = """
Adam Boris Carl David Edgar Felix Georg Hugo Ivan Jonas Karl Leo Marco Nils Otto Pavel Ralf Simon
Tomas Viktor"""
WOMEN = """
Alma Berta Clara Dora Elsa Frida Greta Hanna Irma Julia Katia Lena Maria Nora Olga Petra Rosa Sonja
Tilda Vera"""
ADJECTIVES = """
Silent Golden Broken Hidden Northern Empty Bitter Distant Quiet Burning Frozen Crooked Second
Painted Hollow Secret Wooden Scarlet Endless Forgotten Restless Pale"""
NOUNS = """
Harbour Garden Letter Winter Mirror River Lantern Orchard Bridge Summer Clock Forest Island Window
Station Tower Valley Kitchen Stranger Voyage Compass Curtain"""
