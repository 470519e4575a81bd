const listed = (text: string): readonly string[] => text.trim().split(/\s+/);

/** What people build long passwords from, in lower case without accents. Not a dictionary: the first hundreds of tries. */
export const COMMON_WORDS = listed(`
  password passwort passcode passphrase secret secure security private login logon signin signup access account
  admin administrator administration root user username guest test testing tester default change changeme changeit
  letmein welcome hello namaste sample example demo temp temporary system server database computer internet
  website windows google facebook instagram whatsapp youtube amazon microsoft apple iphone samsung android gmail yahoo
  hotmail outlook email mobile phone number qwerty azerty dvorak
  iloveyou ilove ihate mynameis thisis love lover loveyou forever ever always together friends friend family mother father mummy daddy brother sister
  husband wife baby babygirl angel princess prince queen king honey sweetheart darling beautiful pretty happy
  happiness smile sunshine rainbow flower rose jasmine lotus butterfly chocolate cookie coffee cheese banana orange
  strawberry summer winter spring autumn monsoon january february march april june july august september october
  november december monday tuesday wednesday thursday friday saturday sunday morning birthday christmas
  football soccer cricket baseball basketball hockey tennis liverpool arsenal chelsea manchester united barcelona
  madrid juventus yankees cowboys steelers lakers sachin dhoni virat kohli tendulkar messi ronaldo neymar jordan
  monkey dragon tiger lion eagle wolf panther horse dolphin elephant puppy kitten shadow master hunter killer ninja
  pirate warrior soldier batman superman spiderman starwars skywalker pokemon pikachu minecraft naruto matrix
  mustang ferrari porsche mercedes corvette harley yamaha honda toyota
  michael jennifer jessica ashley daniel charlie andrew thomas robert joshua matthew anthony william george
  hannah amanda nicole michelle samantha elizabeth alexander christopher
  rahul rohit amit anil sunil rajesh suresh ramesh mahesh dinesh ganesh ganesha krishna shiva shivaya rama sita
  hanuman sairam saibaba lakshmi laxmi saraswati durga radhe radha govinda balaji venkat murugan allah jesus christ
  bismillah muhammad ahmed waheguru omnamahshivaya jaishreeram jaimatadi harekrishna priya pooja neha anjali kavita
  sunita anita deepak sanjay vijay manoj kumar singh sharma verma gupta patel reddy khan
  india indian bharat hindustan pakistan bangladesh america american canada australia england london newyork paris
  california texas mumbai delhi kolkata chennai bangalore bengaluru hyderabad pune jaipur kerala
  heaven freedom peace power money dollar lucky star super superstar magic music guitar rock metal death life world
  trust trustno1 whatever nothing everything something because please thanks thankyou goodbye
  doctor doctors physician nurse patient patients clinic hospital medicine medical medicines health healthcare
  healthy wellness care ayurveda ayurvedic herbal pharmacy telemedicine telehealth consultation consultant
  appointment prescription surgeon surgery dentist physiotherapist gastroenterologist dermatologist
  fuckyou fuck fucking bitch asshole sexy
  congratulations responsibility responsibilities characteristics international internationalization
  supercalifragilisticexpialidocious antidisestablishmentarianism floccinaucinihilipilification
  pneumonoultramicroscopicsilicovolcanoconiosis
  correcthorsebatterystaple maytheforcebewithyou tobeornottobe thatisthequestion onceuponatime
  thequickbrownfox jumpsoverthelazydog twinkletwinkle littlestar ihaveadream loremipsum dolorsitamet
  opensesame abracadabra hakunamatata knockknock alphabet onetwothreefourfive
`);

/** Little words between them. */
export const LITTLE_WORDS = listed(`
  the this that is are was my me mine you your we our us he she his her and or not no yes to do for from of in on at
  with it its am be have has can will new old good bad best big hot red blue black white green pink gold dark one two
  three four five six seven eight nine ten zero mr mrs dr com org net www http https abc xyz pass word key code mom mum
  dad boy girl man men cat dog bird bear fox god sai ram shri jai hai om
`);

/**
 * What a finger runs along; with its reverse, any three in a row or more count as one thing. Shifted keys are here as
 * they are printed, so \`!@#$\` runs along too.
 */
export const RUNS = listed(String.raw`
  abcdefghijklmnopqrstuvwxyzabc 01234567890123456789 1234567890-= !@#$%^&*()_+ !"£$%^&*()_+
  qwertyuiop[]\ asdfghjkl;' zxcvbnm,./ qwertyuiopasdfghjklzxcvbnm azertyuiop qsdfghjklm wxcvbn qwertzuiop yxcvbnm
  1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/ !qaz@wsx#edc$rfv%tgb^yhn&ujm 1qazxsw23edcvfr45tgbnhy67ujmki89ol
  qazwsxedcrfvtgbyhnujmikolp qazxswedcvfrtgbnhyujmkiol qweasdzxc zaqxswcdevfrbgt zaq1xsw2cde3vfr4bgt5nhy6
  1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0 q2w3e4r5t6y7u8 a1b2c3d4e5f6g7h8i9j0 1a2b3c4d5e6f7g8h9i0j a1s2d3f4g5h6j7k8l9
  aabbccddeeffgghh 1122334455667788990011 112233445566778899 0102030405060708090 102030405060708090100 1357924680
  13579111315171921 24681012141618202224 147258369 159357 3141592653589793 2718281828459045 123123 321321
  aeiouaeiou aoeuidhtns
`);
